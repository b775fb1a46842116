#!/usr/bin/env bash
# Builds replacements for the images that test-servers uses (redis:7, postgres:15, mariadb:10.11) from the
# Debian packages that are installed on this machine, for Docker engines without access to a registry. They
# accept the environment variables and arguments that test-servers uses. Needs docker, and root to set the
# owners of the data directories.
#
#     apt-get install redis-server postgresql mariadb-server
#     scripts/build-test-images.sh [redis] [postgres] [mariadb]
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Adds programs and files, and the libraries that they need, under the same paths.
add() {
    local root=$1 file
    shift
    for file in "$@"; do
        {
            echo "$file"
            readlink -f "$file"
            ldd "$file" 2>/dev/null | grep -o '/[^ ]*' || true
        } | while read -r path; do
            # --parents keeps the path; -L copies the file if a library is a link.
            cp -L --parents "$path" "$root" 2>/dev/null || cp -r --parents "$path" "$root"
        done
    done
}

# Creates a root directory with a shell, users, and the files that a server expects.
base() {
    local root=$1
    mkdir -p "$root"/{tmp,run,etc,var,data}
    chmod 1777 "$root/tmp"
    add "$root" /bin/sh /usr/bin/setpriv /usr/bin/cat
    ln -sfn usr/bin "$root/bin" 2>/dev/null || true
    cp /etc/passwd /etc/group /etc/nsswitch.conf "$root/etc/"
}

# Builds an image from a root directory, with the script on standard input as its entry point.
import() {
    local root=$1 image=$2 port=$3
    cat >"$root/entrypoint.sh"
    chmod 755 "$root/entrypoint.sh"
    tar -C "$root" -c . | docker import \
        --change 'ENTRYPOINT ["/entrypoint.sh"]' \
        --change "EXPOSE $port" \
        --change 'ENV PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin' \
        - "$image"
}

redis() {
    local root=$work/redis
    base "$root"
    add "$root" "$(command -v redis-server)"
    import "$root" redis:7 6379 <<'ENTRY'
#!/bin/sh
cd /data && exec "$@"
ENTRY
}

postgres() {
    local root=$work/postgres bin
    bin=$(dirname "$(ls /usr/lib/postgresql/15/bin/postgres)")
    base "$root"
    add "$root" "$bin/postgres" /usr/lib/postgresql/15/lib
    for library in /usr/lib/postgresql/15/lib/*.so; do add "$root" "$library"; done
    cp -r --parents /usr/share/postgresql/15 /usr/share/zoneinfo "$root"
    chown postgres "$root/data"
    chmod 755 "$work" "$root"
    # Not under $PWD, because the user of the server may not have access to it.
    (cd / && runuser -u postgres -- "$bin/initdb" -D "$root/data/pg" -U postgres -A trust \
        -E UTF8 --locale=C --no-sync >/dev/null)
    echo 'host all all all trust' >>"$root/data/pg/pg_hba.conf"
    import "$root" postgres:15 5432 <<ENTRY
#!/bin/sh
case \$1 in -*) set -- postgres "\$@" ;; esac
shift
exec setpriv --reuid=postgres --regid=postgres --clear-groups $bin/postgres \\
    -D /data/pg -c listen_addresses='*' -c unix_socket_directories=/tmp "\$@"
ENTRY
}

mariadb() {
    local root=$work/mariadb
    base "$root"
    add "$root" "$(command -v mariadbd || echo /usr/sbin/mariadbd)"
    cp -r --parents /usr/share/mysql "$root"
    chown mysql "$root/data"
    chmod 755 "$work" "$root"
    (cd / && runuser -u mysql -- mariadb-install-db --no-defaults --datadir="$root/data/mysql" \
        --auth-root-authentication-method=normal --skip-test-db >/dev/null)
    import "$root" mariadb:10.11 3306 <<'ENTRY'
#!/bin/sh
{
    echo "CREATE DATABASE IF NOT EXISTS ${MARIADB_DATABASE:-sessions};"
    echo "CREATE USER IF NOT EXISTS root@'%';"
    echo "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;"
} >/tmp/init.sql
exec /usr/sbin/mariadbd --no-defaults --user=mysql --datadir=/data/mysql --init-file=/tmp/init.sql \
    --socket=/tmp/mysql.sock --bind-address=0.0.0.0 "$@"
ENTRY
}

if [ $# -eq 0 ]; then
    set -- redis postgres mariadb
fi
for image in "$@"; do
    "$image"
done
