#!/bin/sh
# Stands in for rustdoc and writes JSON, which needs an unstable option. Only rustdoc itself gets the variable that
# allows it: build scripts that see it would build everything anew.
RUSTC_BOOTSTRAP=1 exec rustdoc -Z unstable-options --output-format json "$@"
