"""A bridge for those who follow runs with TensorBoard or MLflow: what may be seen, and apart from it the rest."""
