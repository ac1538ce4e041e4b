"""What arrives on other machines while the broker of a cluster is killed again and again."""
