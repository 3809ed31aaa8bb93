"""What tracking tools keep: W&B records, MLflow folders and databases."""
