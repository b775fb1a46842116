//! Sessions in Redis and Valkey: one node, Sentinel or Cluster.
