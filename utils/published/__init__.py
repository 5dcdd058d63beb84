"""Names of published weights: what is known of them, and how their files come here."""
