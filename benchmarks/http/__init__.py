"""What a request costs: one web process beside a bare handler, uploads, and many open sockets."""
