/* smtp/session_words_testing.h: the words of O: and V: lines of session_testing.h. Test code
 * only. */
#ifndef SMTP_SESSION_WORDS_TESTING_H
#define SMTP_SESSION_WORDS_TESTING_H

#include "barid/session.h"

/* A line of a dialogue. */
#define LINE_TEXT_MAX 1024

struct script_verdict {
    enum barid_event_id event;
    unsigned nth;          /* 0 = every */
    barid_verdict verdict; /* its slices lie in text */
    char text[LINE_TEXT_MAX];
};

/* Both abort on a word that they do not know. text is cut up. */
void words_options(barid_session_config *config, char *text);
void words_verdict(struct script_verdict *v, const char *line);

#endif
