"""From a cohort's statistics to the parameters of simulated sites that resemble it."""
