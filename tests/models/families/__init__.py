"""Small models of random weights of many families, and what their tests share."""
