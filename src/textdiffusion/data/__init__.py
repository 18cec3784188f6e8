"""Text for training and evaluation: its sources, its cleaning, and its way into rows of token ids."""
