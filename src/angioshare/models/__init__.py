"""Networks: plain modules that know nothing of data or privacy."""
