"""What is learned from: pairs of image and label; where they are cut, how they are scaled and kept on disk."""
