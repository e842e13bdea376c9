// Compiled as one source, see setup.py: the way into the ops, from Python and from the dispatcher.

#include "../bindings.cpp"
#include "../dispatcher_override.cpp"
#include "../ops/schemas.cpp"
