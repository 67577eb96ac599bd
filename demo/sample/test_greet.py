from greet import greeting

assert greeting("Ada") == "Hello, Ada!", greeting("Ada")
print("all tests pass")
