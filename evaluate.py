if __name__ == "__main__":  # the judge's workers import this file again and must not import torch
    from vlm_rl.commands.many_imports import without_collections

    with without_collections():
        from vlm_rl.commands.evaluate import main

    main()
