"""`python -m aecv.iterate` is the command `aecv iterate`."""

if __name__ == "__main__":
    from aecv.commands.iterate import main

    main()
elif __name__ == "aecv.iterate":  # a module of that name would take the place of the function
    raise ImportError(
        "aecv.iterate is a function: use `import aecv`; its command is aecv.commands.iterate.main"
    )
