#include <a.h>
#ifdef X
/* Late. */
static int *fly(struct bat *b)
{
  return 0;
}
#endif
struct bat { int wings; };
typedef struct { int n; } owl;
int n = 1;
