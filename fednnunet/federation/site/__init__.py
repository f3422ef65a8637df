"""A site's side: what it can be asked, its policy and its ledger."""
