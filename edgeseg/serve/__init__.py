"""A box that is strong serves its engines to its neighbours, by the KServe v2 protocol over gRPC."""
