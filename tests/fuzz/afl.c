/* AFL++'s part of the program is compiled for glibc with checks of its own that musl does not have. */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

int __fprintf_chk(FILE *to, int flag, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    int count = vfprintf(to, format, values);
    va_end(values);
    return count;
}

int __printf_chk(int flag, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    int count = vprintf(format, values);
    va_end(values);
    return count;
}

int __snprintf_chk(char *to, size_t size, int flag, size_t whole, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    int count = vsnprintf(to, size, format, values);
    va_end(values);
    return count;
}
