"""The ways of delivering: a kind turns (event, target) into one request or message and evaluates the response."""
