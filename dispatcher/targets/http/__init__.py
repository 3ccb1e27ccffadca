"""What the kinds that send HTTP requests share: egress, credentials, checks of responses and of addresses."""
