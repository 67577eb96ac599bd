"""Greets somebody by name."""


def greeting(name: str) -> str:
    return "Helo, " + name


if __name__ == "__main__":
    print(greeting("world"))
