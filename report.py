"""`python report.py studies='[outputs/a,outputs/b]'`: see conf/report.yaml."""

from vlm_rl.commands.report import main

if __name__ == "__main__":
    main()
