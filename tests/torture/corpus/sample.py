import os

# Above a class.
@decorated
class Bat(Animal):
    """Flies — late."""

    wings = 2

    @property
    def late(self):
        def inner():
            return 1
        return inner()

    class Nested:
        def f(self): ...

if True:
    def conditional():
        pass

async def hunt(): pass
main()
