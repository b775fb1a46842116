//! The tests that read the same for every database that has a server.

/// `$backend` on the servers that `test_servers::$server` starts.
macro_rules! on_a_server {
    ($backend:ident, $server:ident) => {
        fn shared() -> &'static str {
            test_servers::$server::shared().expect("the server is installed").url()
        }

        fn own() -> Server {
            test_servers::$server::start_new(Options::default()).expect("the server is installed")
        }

        async fn without_a_table() -> $backend {
            let backend = $backend::connect(shared()).await.unwrap();
            backend.with_table(&fresh_table()).unwrap()
        }

        pub(crate) async fn backend_and_table() -> (String, $backend) {
            let table = fresh_table();
            let backend = $backend::connect(shared()).await.unwrap();
            let backend = backend.with_table(&table).unwrap();
            backend.migrate().await.unwrap();
            (table, backend)
        }

        pub(crate) async fn backend() -> $backend {
            let backend = without_a_table().await;
            backend.migrate().await.unwrap();
            backend
        }

        async fn on(server: &Server) -> Arc<dyn Backend> {
            let backend = $backend::connect(server.url()).await.unwrap();
            backend.migrate().await.unwrap();
            Arc::new(backend)
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn each_has_its_own_result() {
            let backend = backend().await;
            common::each_of_a_batch_has_its_own_result(&backend).await;
            common::each_has_its_own_result(Arc::new(backend), common::MANY).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn batches_of_two_servers_agree() {
            let table = fresh_table();
            let connect = async || {
                let backend = $backend::connect(shared()).await.unwrap();
                let backend = backend.with_table(&table).unwrap();
                backend.migrate().await.unwrap();
                Arc::new(backend)
            };
            common::batches_of_two_servers_agree(connect().await, connect().await).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn who_goes_away_harms_nobody() {
            common::who_goes_away_harms_nobody(Arc::new(backend().await)).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn a_flood_holds_up_no_logout() {
            common::a_flood_holds_up_no_logout(backend().await).await;
            // The application's pool may have few connections.
            let pool = sqlx::pool::PoolOptions::new().max_connections(1);
            let pool = $backend::from_pool(pool.connect(shared()).await.unwrap());
            let pool = pool.with_table(&fresh_table()).unwrap();
            pool.migrate().await.unwrap();
            common::a_flood_holds_up_no_logout(pool).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn the_server_is_killed_and_comes_back() {
            let server = own();
            let backend = on(&server).await;
            outages::server_is_killed_and_comes_back(server, backend).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn the_server_is_paused_and_goes_on() {
            let server = own();
            let backend = on(&server).await;
            outages::server_is_paused_and_goes_on(server, backend).await;
        }

        #[tokio::test]
        async fn without_its_table_it_says_what_to_do() {
            let backend = without_a_table().await;
            outages::table_is_missing(backend.clone(), backend.migrate()).await;
        }
    };
}

pub(crate) use on_a_server;
