"""Chat templates of the public kinds, for text/chat_template.h; then the judge of its answers.

usage: chat_check.py make FILE; chat_check.py judge FILE ANSWERS

`make` writes [{"template", "begin", "system", "earlier", "user"}]; `judge` compares the prompts, in that order,
with what transformers' apply_chat_template gives.
"""

import json
import sys
from datetime import datetime
from pathlib import Path

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

LLAMA_3 = r"""{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>

'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>

' }}{% endif %}"""
LLAMA_3_2 = r"""{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{{- "Cutting Knowledge Date: December 2023\n" }}
{{- "Today Date: " + date_string + "\n\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}"""
LLAMA_3_1 = LLAMA_3_2.replace('strftime_now("%d %b %Y")', '"26 Jul 2024"').replace(
    "strftime_now", "nothing"
)
CHAT_ML = r"""{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
BEGINNING = "{{ bos_token }}" + CHAT_ML.replace(
    "message['content'] +", "message['content'] | trim +"
)
OWN_SYSTEM = (
    r"""{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant.\nBe brief.<|im_end|>\n' }}{% endif %}"""
    + CHAT_ML.partition("{% for message in messages %}")[2]
)
QWEN_2_5 = r"""{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {{- 'You are Qwen.' }}
    {{- "\n\n# Tools\n\n<tools>" }}
    {{- "</tools><|im_end|>\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}"""
QWEN_3 = QWEN_2_5.replace(
    """    {%- else %}
        {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}
""",
    "",
).replace(
    "    {{- '<|im_start|>assistant\\n' }}\n",
    r"""    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
""",
)
QWEN_3 = QWEN_3.replace(
    "message.content + '<|im_end|>'",
    r"(message.content.split('</think>')[-1].lstrip('\n') if message.role == 'assistant' else message.content) + '<|im_end|>'",
)
THINKING = QWEN_3.replace(
    r"'<|im_start|>assistant\n' }}", r"'<|im_start|>assistant\n<think>\n' }}"
)

GEMMA_3 = r"""{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '

' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '

' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '
' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>
' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model
'}}
{%- endif -%}"""
GEMMA_3_SPELLED = GEMMA_3.replace("'\n\n'", r"'\n\n'").replace("+ '\n'", r"+ '\n'")
# Of Gemma 1 and 2, which take no system turn.
GEMMA = r"""{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"""

APOSTROPHE = (
    r"""{% if messages[0]['role'] != 'system' %}{{ "<|im_start|>system\nYou're \"Ada\", and it's fine.<|im_end|>\n" }}{% endif %}"""
    + CHAT_ML
)
# Has no marks around what a system says.
YI = r"""{% if messages[0]['role'] == 'system' %}{% set system_message = messages[0]['content'] %}{% endif %}{% if system_message is defined %}{{ system_message }}{% endif %}{% for message in messages %}{% set content = message['content'] %}{% if message['role'] == 'user' %}{{ '<|im_start|>user\n' + content + '<|im_end|>\n<|im_start|>assistant\n' }}{% elif message['role'] == 'assistant' %}{{ content + '<|im_end|>' + '\n' }}{% endif %}{% endfor %}"""
# Always has a system turn, without a date.
NEMOTRON = r"""{{- bos_token }}{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content']|trim %}{%- set messages = messages[1:] %}{%- else %}{%- set system_message = "" %}{%- endif %}{{- "<|start_header_id|>system<|end_header_id|>\n\n" + system_message }}{{- "<|eot_id|>" }}{%- for message in messages %}{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"""

EARLIER = [
    ["Hi", " Hello\n"],
    ["And you? ", "<think>\nhm\n</think>\n\nFine </think>too.\n "],
]


def make():
    cases = []
    for template in (
        LLAMA_3,
        LLAMA_3_1,
        LLAMA_3_2,
        CHAT_ML,
        BEGINNING,
        OWN_SYSTEM,
        QWEN_2_5,
        QWEN_3,
        THINKING,
        GEMMA_3,
        GEMMA_3_SPELLED,
        GEMMA,
        APOSTROPHE,
        YI,
        NEMOTRON,
    ):
        for system in (None, "Answer in rhymes.", "  spaces\u3000\x1c\n"):
            if system and template in (GEMMA, YI):
                continue
            if not system and template == NEMOTRON:
                continue
            for user in ("Hello", " \n two\nlines <|im_end|>  ", ""):
                for earlier in ([], EARLIER):
                    case = {
                        "template": template,
                        "begin": "<|begin_of_text|>",
                        "system": system,
                        "earlier": earlier,
                        "user": user,
                    }
                    cases.append(case)
    return cases


def judge(cases, answers):
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE()), bos_token="<|begin_of_text|>"
    )
    for case, answer in zip(cases, answers["prompts"], strict=True):
        turns = [{"role": "user", "content": case["user"]}]
        for user, assistant in reversed(case["earlier"]):
            turns.insert(0, {"role": "assistant", "content": assistant})
            turns.insert(0, {"role": "user", "content": user})
        if case["system"] is not None:
            turns.insert(0, {"role": "system", "content": case["system"]})
        expected = tokenizer.apply_chat_template(
            turns,
            chat_template=case["template"],
            tokenize=False,
            add_generation_prompt=True,
        )
        today = datetime.now().strftime("%d %b %Y")
        answer = answer.replace("TODAY", today)
        assert answer == expected, (case, answer, expected)
    print(len(cases), "prompts")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        Path(sys.argv[2]).write_text(json.dumps(make()))
    else:
        judge(*(json.loads(Path(path).read_text()) for path in sys.argv[2:]))
