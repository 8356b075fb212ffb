if __name__ == "__main__":
    from vlm_rl.commands import leaving

    leaving.listen(leaving.stop_at_once)  # the libraries take seconds to load, and would answer Ctrl-C with a traceback

    from vlm_rl.commands.study import main

    main()
