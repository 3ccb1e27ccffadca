"""The demo: the service as it is, real job events, its own receivers, and a person who watches."""
