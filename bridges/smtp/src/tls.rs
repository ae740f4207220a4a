//! TLS by the settings: the server's certificate, and what the relay's is verified by. Opens no connection.
