if __name__ == "__main__":  # the judge's workers import this file again and must not import torch
    from vlm_rl.commands import leaving

    leaving.listen(leaving.stop_at_once)  # the libraries take seconds to load, and would answer Ctrl-C with a traceback

    from vlm_rl.commands.train import main

    main()
