"""What tables hold: CSV, JSON and Parquet, read into columns of cells. No ComfyUI, no Ray."""
