"""Many runs of the pipeline as one study: planned as data, carried out on Snakemake, gathered as records."""
