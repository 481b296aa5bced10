"""What is made of many runs: the tables of papers."""
