"""What the target kind `email` is made of: addresses, messages, consent and the way to the mail relay."""
