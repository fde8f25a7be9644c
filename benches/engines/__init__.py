"""One file a peer: how it does each operation that a bench times. A file imports its own peer and no other."""
