"""Image translation: from one domain to another, with and without pairs."""
