//! A Redis Cluster of local nodes.
