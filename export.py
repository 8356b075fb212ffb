"""`python export.py checkpoint=outputs/<study>/<variant>/seed-0 folder=my-adapter`: see conf/export.yaml."""

from vlm_rl.commands.export import main

if __name__ == "__main__":
    main()
