"""Tables of runs next to the numbers of a paper."""
