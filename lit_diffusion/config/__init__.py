"""What the user typed: configuration files, options, and which of them are trusted."""
