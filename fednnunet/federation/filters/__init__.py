"""What changes a site's reply on its way: both halves of each change in one value."""
