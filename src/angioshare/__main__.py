"""`python -m angioshare` is the command line."""

from angioshare.cli import main

raise SystemExit(main())
