"""Sites, messages, methods and rounds: the only code in which anything crosses a site's wall."""
