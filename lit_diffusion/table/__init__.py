"""Tables: runs beside the numbers of a paper, as a layout arranges them."""
