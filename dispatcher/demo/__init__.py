"""The demo: the service as it is, real job events, receivers of its own, and a person who watches."""
