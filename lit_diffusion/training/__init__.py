"""Lightning's side: the commands fit, validate, test and predict."""
