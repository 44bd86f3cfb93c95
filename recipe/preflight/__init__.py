"""What is checked before Ray or a model is started."""
