{{- define "prestacop.selector" -}}
app.kubernetes.io/name: prestacop
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "prestacop.metadata" -}}
name: {{ .root.Release.Name }}-{{ .component }}
labels:
  {{- include "prestacop.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "prestacop.image" -}}
image: {{ printf "%s%s:%s" .root.Values.registry .image (.root.Values.tag | default .root.Chart.AppVersion) }}
imagePullPolicy: {{ .root.Values.pullPolicy }}
{{- end }}

{{/* Of every pod. */}}
{{- define "prestacop.pod" -}}
serviceAccountName: {{ .root.Release.Name }}-{{ .component }}
automountServiceAccountToken: {{ .token | default false }}
enableServiceLinks: false # Kubernetes' own variables, such as PRESTACOP_CONSOLE_PORT, would be taken for flags
{{- with .root.Values.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user | default 10001 }}
  runAsGroup: {{ .user | default 10001 }}
  fsGroup: {{ .user | default 10001 }}
  seccompProfile: { type: RuntimeDefault }
{{- end }}

{{/* Of every container. */}}
{{- define "prestacop.locked" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}

{{- define "prestacop.environment" -}}
{{- if .Values.secret -}}
envFrom:
  - secretRef: { name: {{ .Values.secret }} }
{{ end -}}
env:
  - { name: HOME, value: /tmp }
  {{- range $name, $value := .Values.environment }}
  - { name: {{ $name }}, value: {{ $value | quote }} }
  {{- end }}
{{- end }}

{{/* What the pipeline reads and writes, whatever runs it. */}}
{{- define "prestacop.graph" -}}
- --lake={{ .Values.lake }}
{{- with .Values.topics.messages }}
- --messages={{ . }}
{{- end }}
{{- with .Values.topics.images }}
- --images={{ . }}
{{- end }}
{{- with .Values.topics.alerts }}
- --alerts={{ . }}
{{- end }}
{{- if .Values.pipeline.officerKeys }}
- --officer-keys=/etc/prestacop/officers.pem
{{- end }}
- --quiet
- --environment_type=EXTERNAL
- --environment_config=localhost:50000 # the pool of Python workers in the pod of each TaskManager or executor
{{- range .Values.pipeline.flags }}
- {{ . | quote }}
{{- end }}
{{- end }}
