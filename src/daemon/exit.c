/* daemon/exit.c: library errors as exit codes of sysexits(3). */
#include "daemon/exit.h"

#include <errno.h>

int exit_code(int err)
{
    static const struct {
        int err, code;
    } table[] = {
        {BARID_OK, EX_OK},
        {BARID_ENOMEM, EX_OSERR},
        {BARID_ESYNTAX, EX_DATAERR},
        {BARID_ELIMIT, EX_DATAERR},
        {BARID_ECLOSED, EX_UNAVAILABLE},
        {BARID_EIO, EX_IOERR},
        {BARID_EFULL, EX_TEMPFAIL},
        {BARID_ENOTFOUND, EX_NOINPUT},
        {BARID_EEXISTS, EX_CANTCREAT},
        {BARID_EAGAIN, EX_TEMPFAIL},
        {BARID_ECORRUPT, EX_DATAERR},
        {BARID_EVERSION, EX_DATAERR},
        {BARID_ELOCKED, EX_TEMPFAIL},
        {BARID_ETIMEOUT, EX_TEMPFAIL},
        {BARID_EUNSUPPORTED, EX_UNAVAILABLE},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].err == err)
            return table[i].code;
    return EX_SOFTWARE;
}

int exit_code_errno(int errno_value)
{
    switch (errno_value) {
    case 0:
        return EX_OK;
    case ENOENT:
    case ENOTDIR:
        return EX_NOINPUT;
    case EACCES:
    case EPERM:
        return EX_NOPERM;
    default:
        return EX_OSERR;
    }
}
