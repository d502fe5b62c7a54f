"""``python -m hippy.cli`` is ``hippy``."""

from hippy.cli.main import main

main()
