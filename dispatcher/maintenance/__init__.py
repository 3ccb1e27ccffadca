"""What one process does for all: it ends what is too old, repairs what a crash left, and deletes what may go."""
