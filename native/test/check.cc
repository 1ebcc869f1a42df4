#include "test/check.h"

int main(int argc, char** argv) { return check::runTests(argc > 1 ? argv[1] : ""); }
